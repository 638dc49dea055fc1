from app.rules.matching import fits_equal, fits_words


def test_an_entry_fits_where_each_of_its_words_is_a_whole_word_of_the_field():
    assert fits_words("VP Sales", "VP of Sales")
    assert fits_words("vp sales", "Sales, VP (EMEA)")
    assert fits_words("Île-de-France", "Paris, ile de france")
    assert not fits_words("CTO", "Director")
    assert not fits_words("VP Sales", "VP of Marketing")
    assert not fits_words("sale", "VP of Sales")


def test_an_entry_or_a_field_without_a_word_fits_nothing():
    assert not fits_words("***", "CTO")
    assert not fits_words("", "CTO")
    assert not fits_words("CTO", "")
    assert not fits_words("CTO", None)
    assert not fits_equal("", "")
    assert not fits_equal(" ", " ")
    assert not fits_equal("TechCorp", None)


def test_companies_fit_when_they_are_equal_after_folding():
    assert fits_equal("Société Générale", "SOCIETE GENERALE ")
    assert not fits_equal("TechCorp", "TechCorp SAS")
