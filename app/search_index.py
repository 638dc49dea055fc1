"""What a search may ask of an index: words by how they begin, and the first three letters of each word as a word of their own.

To find all words that begin as asked, an index gathers everything under each of them before it looks at any other word; what stands in
it as it was asked for it skips through. So of several words the longest is asked for as it is and of others their first three letters,
and whoever asks looks whether the words found go on as they should.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

#: Letters of a beginning that is in the index as it is.
BEGINNING = 3
#: A longer word is asked for whole: the more of it is left out, the more words found may be others (`lead12345` would be any `lea`).
LONGEST_CUT = 5
#: PostgreSQL has the beginnings of so many words of a lead, which are more than nearly all have: each costs a batch.
WORDS_WITH_BEGINNINGS = 12
#: Stands for the beginnings of a lead's other words; no word can be it.
OTHERS = "*"


def beginnings(words: Sequence[str]) -> list[str]:
    """Give the beginnings by which leads with words that begin as these are looked for; there may be some among them that have not all."""
    longest = max(words, key=len)
    return [word if word is longest or len(word) > LONGEST_CUT else word[:BEGINNING] for word in words]


def lexemes(search_text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Give what PostgreSQL's index holds of a lead: its words and their beginnings."""
    split = [sa.func.split_part(search_text, _text(" "), _number(place)) for place in range(1, WORDS_WITH_BEGINNINGS + 2)]
    beginnings = [sa.func.left(word, _number(BEGINNING)) for word in split[:-1]]
    others = sa.case((split[-1] == _text(""), _text("")), else_=_text(OTHERS))
    words = sa.func.string_to_array(search_text, _text(" ")).op("||")(postgresql.array([*beginnings, others]))
    return sa.func.array_to_tsvector(sa.func.array_remove(words, _text("")))


# Constants stand in the SQL as they are: an index has no binds, and a condition must read as its index does.
def _text(value: str) -> sa.ColumnElement[str]:
    return sa.literal_column(f"'{value}'", sa.Text)


def _number(value: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(value), sa.Integer)
