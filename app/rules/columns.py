"""Columns of files to fields of a lead, by the names that exports of five languages give them."""

from collections.abc import Container, Mapping, Sequence
from difflib import get_close_matches

from app.errors import shown
from app.rules.attributes import KEY_LENGTH
from app.rules.fields import LEAD_FIELDS
from app.rules.folding import words

ATTRIBUTES = "attributes."
#: The fields that say which lead a row is about.
KEY_FIELDS = frozenset({"id", "email", "crmId"})
#: The field that holds the caller's own as one JSON object. By its name alone a column fills it in our own exports only.
OBJECT = "attributes"
#: Columns of an export that nobody can set.
COMPUTED = ("qualityScore", "createdAt", "updatedAt", "lastActivityAt", "version")
#: Names that no other program gives its columns together: a file with both is an export of ours, whatever was cut from it or added.
_EXPORTED = {"qualityScore", "lastActivityAt"}

#: Folded, without anything but letters and digits; the contract's own names come on top.
SYNONYMS: dict[str, str] = {
    "id": "leadid",
    # No customer's number: it is the firm's, and all its people would become one lead.
    "crmId": "crm externalid extid contactid recordid idexterne idexterno idesterno",
    "email": "emailaddress mail mailaddress emailadresse mailadresse courriel adresseemail adressemail adressedemail adresseelectronique "
    "correo correoelectronico direcciondecorreo direccionemail indirizzoemail postaelettronica workemail businessemail primaryemail",
    "firstName": "givenname forename first prenom vorname rufname nombre nombredepila nome primonome",
    "lastName": "surname familyname last nom nomdefamille nachname familienname zuname apellido apellidos cognome",
    "company": "companyname organization organisation organizationname organisationname account accountname employer business "
    "societe entreprise nomdelasociete raisonsociale razonsocial firma firmenname unternehmen empresa compania nombredelaempresa azienda "
    "societa ragionesociale organizzazione organizacion",
    "title": "jobtitle position job role jobposition titre titreduposte poste fonction intituleduposte funktion stelle berufsbezeichnung "
    "jobbezeichnung cargo puesto titulo ruolo posizione qualifica mansione",
    "phone": "phonenumber tel telephone telephonenumber mobile mobilephone mobilenumber cell cellphone workphone directphone "
    "telefon telefonnummer handy handynummer mobil mobilnummer mobiltelefon rufnummer numerodetelephone telefono telefonofijo "
    "telefonomovil movil celular numerodetelefono cellulare numeroditelefono portable",
    "website": "web site url homepage websiteurl companywebsite webpage siteweb siteinternet webseite internetseite webadresse sitioweb "
    "paginaweb sitio sito sitoweb domain companydomain",
    "linkedinUrl": "linkedin linkedinprofile linkedinprofileurl linkedinlink personlinkedinurl contactlinkedinurl profillinkedin "
    "linkedinprofil perfillinkedin perfildelinkedin profilolinkedin profileurl",
    "location": "city town place ville lieu localisation localite stadt ort standort ciudad ubicacion localidad citta luogo localita",
    "source": "leadsource origin origine quelle herkunft leadquelle fuente origen fuentedelead fonte sorgente provenienza",
    # None of the words that are a part of a country as well (state, estado, stato, état): addresses have such a column.
    "status": "leadstatus stage statut stand estatus",
    "notes": "note comment comments remark remarks description remarque remarques commentaire commentaires notiz notizen bemerkung "
    "bemerkungen kommentar anmerkung notas nota comentario comentarios observaciones commento commenti osservazioni",
    "optInAt": "optin optindate optedinat consentdate consentat dateoptin dateconsentement einwilligungsdatum einwilligung "
    "fechadeconsentimiento dataconsenso",
}

#: Columns that hold a whole name: cutting it in two would be a guess.
_FULL_NAMES = (
    "name fullname contactname personname leadname nomcomplet nometprenom nomprenom prenometnom prenomnom vollername vollstandigername "
    "vorundnachname vornameundnachname vornamenachname namevorname nombrecompleto nombreyapellido nombreyapellidos nomecompleto "
    "nomecognome nomeecognome cognomenome cognomeenome"
)
NAMES_ARE_TWO = "names go to firstName and lastName"

_NAMES = ("id", *(field.name for field in LEAD_FIELDS if field.name != "attributes"))
_BY_HEADER: dict[str, str] = {header: name for name in _NAMES for header in (name.lower(), *SYNONYMS.get(name, "").split())}


def find_field(header: str) -> str | None:
    """Give the field that a column of this name fills; None where no field takes it. `attributes.NAME` is itself."""
    name = header.strip()
    if name.startswith(ATTRIBUTES):
        return name if len(name) > len(ATTRIBUTES) else None
    return _BY_HEADER.get("".join(words(name)))


def is_export(columns: Sequence[str]) -> bool:
    """Tell by its header whether a file is an export of ours."""
    return _EXPORTED.issubset(columns)


def is_full_name(header: str) -> bool:
    """Tell whether a column of this name holds first and last name in one."""
    return "".join(words(header)) in _FULL_NAMES.split()


def closest(header: str) -> str | None:
    """Give the field that was likely meant, for a "did you mean"."""
    near = get_close_matches("".join(words(header[:100])), _BY_HEADER, n=1)
    return _BY_HEADER[near[0]] if near else None


def map_columns(headers: Sequence[str], given: Mapping[str, str | None], foreign: Container[str] = ()) -> list[tuple[str, str | None]]:
    """Give each column, trimmed and in the file's order, with the field that it fills, or None.

    What is `given` goes before what the name says, and takes the field away from a column that has it by its name alone;
    given None, a column fills nothing. Nor does one that is `foreign`, by its name. Raises ValueError, worded for the user, where
    the columns can't be told apart, a name is unknown, or no column says which lead a row is about.
    """
    columns = [header.strip() for header in headers]
    seen: set[str] = set()
    for column in columns:
        if column and column in seen:
            raise ValueError(f"The column {shown(column)} is there twice: rename one of them.")
        seen.add(column)
    asked = {column.strip(): _given_field(column.strip(), field, columns) for column, field in given.items()}
    taken = set(asked.values())
    mapping: list[tuple[str, str | None]] = []
    for column in columns:
        found = asked[column] if column in asked else find_field(column)
        mapping.append((column, None if column not in asked and (found in taken or column in foreign) else found))
    refuse_shared_fields(mapping)
    if not KEY_FIELDS & {field for _, field in mapping}:
        for column in columns:
            if column in foreign and column not in asked:
                raise ValueError(
                    f"No column says which lead a row is about: {shown(column)} holds no ids of ours. "
                    "Map it to `crmId` if they are another system's.",
                )
        raise ValueError("No column says which lead a row is about: name one `email`, `crmId` or `id`, or say in `mapping` which it is.")
    return mapping


def _given_field(column: str, field: str | None, columns: Sequence[str]) -> str | None:
    if column not in columns:
        # Bounded: comparing is slow, and a file may have ten thousand columns.
        near = get_close_matches(column[:100], [name[:100] for name in columns[:200]], n=1)
        raise ValueError(f"The file has no column {shown(column)}{_did_you_mean(near[0] if near else None)}")
    name = (field or "").strip()
    if not name:
        return None
    if name in (*_NAMES, OBJECT):
        return name
    if name.startswith(ATTRIBUTES) and len(name) > len(ATTRIBUTES):
        if "\0" in name or len(name) > len(ATTRIBUTES) + KEY_LENGTH:
            raise ValueError(f"A lead has no field {shown(name)}: an attribute's name has at most {KEY_LENGTH} characters, and no NUL.")
        return name
    if is_full_name(name):
        raise ValueError(f"A lead has no field {shown(name)}: {NAMES_ARE_TWO}.")
    raise ValueError(f"A lead has no field {shown(name)}{_did_you_mean(find_field(name) or closest(name))}")


def _did_you_mean(name: str | None) -> str:
    return "." if name is None else f": did you mean {shown(name)}?"


def refuse_shared_fields(mapping: Sequence[tuple[str, str | None]]) -> None:
    """Raise ValueError, worded for the user, where two columns fill one field."""
    first: dict[str, str] = {}
    for column, field in mapping:
        if field is None:
            continue
        if field in first:
            raise ValueError(
                f"The columns {shown(first[field])} and {shown(column)} both fill `{field}`: map one of them to another field, or to none.",
            )
        first[field] = column


def ours(columns: Sequence[str], *, exported: bool, rejected: bool) -> dict[str, str | None]:
    """Give the columns that mean more in our own files than in others, with their fields: of an export, and of rejected rows."""
    own: dict[str, str | None] = dict.fromkeys(COMPUTED) if exported else {}
    if exported or rejected:
        own[OBJECT] = OBJECT
    return {column: field for column, field in own.items() if column in columns}


def rejected_columns(mapping: Sequence[tuple[str, str | None]]) -> list[str]:
    """Name the columns of a file of rejected rows so that each fills by its name alone what it filled before.

    One keeps its name where that does so; else it is called as its field is, or nothing if it filled none: without a name it is left out
    again, and cells that stand beyond or short of the header stay so.
    """
    # As the names will be: no export is known by a column that was mapped elsewhere.
    exported = is_export([column for column, field in mapping if field is None])
    own = ours([column for column, _ in mapping], exported=exported, rejected=True)
    names = []
    for column, field in mapping:
        alone = own[column] if column in own else find_field(column) or (f"{ATTRIBUTES}{column}" if column else None)
        names.append(column if alone == field else field or "")
    return names
