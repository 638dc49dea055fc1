import csv
import io
import re

import pytest
from hypothesis import given as given_by
from hypothesis import strategies as st

from app.rules.columns import COMPUTED, closest, find_field, is_export, map_columns, rejected_columns
from app.rules.fields import LEAD_FIELDS
from app.rules.files import rejected_header
from app.rules.uploads import UnknownColumns, map_table, read_table
from schema.exports import COLUMNS


@pytest.mark.parametrize(
    ("field", "headers"),
    {
        "id": ["id", "ID", "Lead ID", "lead_id"],
        "crmId": ["crm_id", "CRM-ID", "External ID"],
        "email": ["E-mail Address", "mail", "Courriel", "E-Mail-Adresse", "correo electrónico", "Indirizzo e-mail"],
        "firstName": ["first_name", "Prénom", "Vorname", "Nombre", "given name"],
        "lastName": ["LAST NAME", "Nom de famille", "Nachname", "Apellidos", "Cognome"],
        "company": ["Company Name", "Société", "Firma", "Organisation", "Empresa", "Razón social", "Azienda"],
        "title": ["position", "jobTitle", "Titre", "Funktion", "Job Title", "Cargo", "Ruolo"],
        "phone": ["phone_number", "Tel.", "Téléphone", "mobile", "Telefonnummer", "Teléfono", "Cellulare"],
        "website": ["Web site", "URL", "Site web", "Webseite", "Sitio"],
        "linkedinUrl": ["LinkedIn", "linkedin url", "linkedin_profile"],
        "location": ["City", "Ville", "Ort", "Ciudad", "Città"],
        "source": ["Lead Source", "Quelle"],
        "status": ["Lead status", "Statut", "Stage", "Status"],
        "notes": ["Comments", "Bemerkungen"],
        "optInAt": ["opt_in_at", "opt-in date"],
    }.items(),
)
def test_a_column_is_known_by_the_names_that_people_give_it(field: str, headers: list[str]):
    assert [find_field(header) for header in headers] == [field] * len(headers)


def test_every_field_but_the_object_is_known_by_its_own_name():
    for field in LEAD_FIELDS:
        assert find_field(field.name) == (None if field.name == "attributes" else field.name)


def test_a_caller_s_own_field_is_itself_and_what_nobody_knows_is_none():
    assert find_field(" attributes.Shoe size ") == "attributes.Shoe size"
    assert find_field("attributes.") is None
    assert find_field("shoe size") is None
    assert find_field("") is None


def test_a_column_of_an_export_fills_a_field_or_is_computed():
    assert set(COLUMNS) == {"id", *(field.name for field in LEAD_FIELDS), *COMPUTED}
    assert is_export(COLUMNS)
    assert not is_export(["id", "email", "createdAt", "updatedAt", "version"])


@pytest.mark.parametrize("header", ["Estado", "État", "Stato", "State", "State/Province", "Province"])
def test_a_part_of_a_country_is_no_status(header: str):
    assert find_field(header) is None


def test_a_slip_of_the_finger_finds_what_was_meant():
    assert closest("emial") == "email"
    assert closest("frist name") == "firstName"
    assert closest("zzzzzz") is None


def test_columns_are_mapped_in_their_order_and_the_unknown_ones_to_none():
    headers = ["firstName", "lastName", "email", "company", "position", "linkedinUrl", " Shoe size", "", ""]
    assert map_columns(headers, {}) == [
        ("firstName", "firstName"),
        ("lastName", "lastName"),
        ("email", "email"),
        ("company", "company"),
        ("position", "title"),
        ("linkedinUrl", "linkedinUrl"),
        ("Shoe size", None),
        ("", None),
        ("", None),
    ]


def test_what_is_given_goes_before_what_a_name_says():
    given = {"Contact": "email", "size ": "attributes.size", "phone": None}
    assert map_columns(["email", "Contact", "size", "phone"], given) == [
        ("email", None),
        ("Contact", "email"),
        ("size", "attributes.size"),
        ("phone", None),
    ]


@pytest.mark.parametrize(
    ("headers", "given", "message"),
    [
        (["email", "a", " a"], {}, "The column 'a' is there twice: rename one of them."),
        (
            ["email", "phone", "mobile"],
            {},
            "The columns 'phone' and 'mobile' both fill `phone`: map one of them to another field, or to none.",
        ),
        (
            ["email", "x", "y"],
            {"x": "title", "y": "title"},
            "The columns 'x' and 'y' both fill `title`: map one of them to another field, or to none.",
        ),
        (["email", "Phone"], {"phone": "phone"}, "The file has no column 'phone': did you mean 'Phone'?"),
        (["email"], {"zzz": "phone"}, "The file has no column 'zzz'."),
        (["email", "x"], {"x": "fristName"}, "A lead has no field 'fristName': did you mean 'firstName'?"),
        (["email", "x"], {"x": "first_name"}, "A lead has no field 'first_name': did you mean 'firstName'?"),
        (["email", "x"], {"x": "attributes."}, "A lead has no field 'attributes.'."),
        (["email", "x"], {"x": "qqqq"}, "A lead has no field 'qqqq'."),
        (
            ["first name", "phone"],
            {},
            "No column says which lead a row is about: name one `email`, `crmId` or `id`, or say in `mapping` which it is.",
        ),
        (
            ["email"],
            {"email": None},
            "No column says which lead a row is about: name one `email`, `crmId` or `id`, or say in `mapping` which it is.",
        ),
    ],
)
def test_columns_that_cannot_be_told_apart_are_refused_with_what_to_do(headers, given, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        map_columns(headers, given)


def test_a_column_with_ids_of_another_system_is_one_that_no_field_takes_unless_it_was_mapped_by_hand():
    assert map_columns(["ID", "email"], {}, {"ID"}) == [("ID", None), ("email", "email")]
    assert map_columns(["ID", "Lead ID", "email"], {}, {"ID"})[:2] == [("ID", None), ("Lead ID", "id")]
    assert map_columns(["ID", "email"], {"ID": "crmId"}, {"ID"})[0] == ("ID", "crmId")
    assert map_columns(["ID", "email"], {"ID": "id"}, {"ID"})[0] == ("ID", "id")
    with pytest.raises(ValueError, match=r"'ID' holds no ids of ours\. Map it to `crmId` if they are another system's"):
        map_columns(["ID", "name"], {}, {"ID"})


def test_rejected_rows_stand_under_names_that_lead_where_they_led_before():
    mapping = [
        ("Courriel", "email"),
        ("Konto", "crmId"),
        ("email", None),
        ("Firma", "attributes.Unternehmen"),
        ("Shoe size", "attributes.Shoe size"),
        ("title", "attributes.title"),
        ("Secret", None),
        ("", None),
        ("JSON", "attributes"),
    ]
    names = ["Courriel", "crmId", "", "attributes.Unternehmen", "Shoe size", "attributes.title", "", "", "attributes"]
    assert rejected_columns(mapping) == names


def table_of(header: list[str], *rows: list[str]):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([header, *rows])
    return read_table(io.BytesIO(out.getvalue().encode()))


EXPORTED = ["qualityScore", "lastActivityAt"]
NAMES = [
    "ID",
    "lead_id",
    "email",
    "Mail",
    "Firma",
    "title",
    "attributes",
    "attributes.title",
    "attributes.attributes",
    "=x",
    "'y",
    "version",
]
FIELDS = [None, "id", "email", "crmId", "title", "attributes", "attributes.title", "attributes.new", "attributes.version", "attributes.=x"]


@given_by(st.data())
def test_whatever_was_mapped_rejected_rows_go_there_again_without_options(data: st.DataObject):
    header = data.draw(st.lists(st.sampled_from([*NAMES, *EXPORTED]), min_size=1, unique=True))
    header = header + data.draw(st.sampled_from([[], EXPORTED, [""]]))
    asked = data.draw(st.dictionaries(st.sampled_from(header), st.sampled_from(FIELDS), max_size=4))
    unknown = data.draw(st.sampled_from(UnknownColumns))
    cells = data.draw(
        st.lists(st.sampled_from(["", "4711", "lead_00000000000000000000000000"]), min_size=len(header), max_size=len(header))
    )
    try:
        mapping = map_table(table_of(header, ["x", *cells[1:]]), asked, unknown)
    except ValueError:
        return  # refused, so that nothing was rejected
    again = table_of(rejected_header(mapping), ["2", "wrong", *cells])
    assert [field for _, field in map_table(again, {}, UnknownColumns.ATTRIBUTES)] == [field for _, field in mapping]
    if any(column for column, _ in mapping if column not in again.columns):
        with pytest.raises(ValueError, match="one of rejected rows names its columns so that it needs no mapping"):
            map_table(again, {column: None for column in header if column not in again.columns}, unknown)
