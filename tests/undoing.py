"""What is taken back, and how it is looked at."""

UNDO = "batches/undo"
STATE = """{ leads(first: 30, orderBy: [{field: CREATED_AT}]) { totalCount nodes {
  id email crmId firstName lastName company title phone website linkedinUrl location source status notes attributes optInAt
  qualityScore score { value stale components { kind points reasons } } assignee { id } campaigns(first: 3) { nodes { id } } createdAt
} } }"""

#: Three leads that differ in what they have.
ROWS = [
    {"email": "ann@example.com", "firstName": "Ann", "title": "CTO", "attributes": {"plan": "gold", "seats": 3}},
    {"crmId": "2", "company": "Acme", "phone": "+33 6 12 34 56 78", "optInAt": "2026-01-20T10:00:00Z", "status": "REPLIED"},
    {"email": "cleo@example.com", "website": "cleo.example.com", "source": "linkedin"},
]
