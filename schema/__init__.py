"""What the graph looks like, a file a noun, and the planner that answers it.

graph           the schema, built once
queries         root fields that read: each is one SQL statement
mutations       root fields that write: verbs of `app.actions`, the reply read in the same transaction; by noun in
                batch_verbs event_verbs import_verbs email_verbs automation_verbs webhook_verbs
subscriptions   root fields that go on: the queries that they repeat are in `live`
leads campaigns activities users emails batches automations webhooks workspaces     types, a file a noun; `nodes` is what they share
inputs enums filters scalars    what clients send; `matching` finds the leads of a filter for verbs
payloads        what mutations answer; `replies` reads the objects in it
exports         all leads of a filter, as CSV or JSON lines
planner/        selection set -> one SQL statement -> JSON

context         what a request brings to its resolvers
documents       parsed and validated once, kept by text (`latest` keeps what was made of texts)
coercion        variables, read by what is compiled of their types
costs           what a request may come to, told before it runs
short_way       a query of planned fields alone, without an executor
"""
