"""What the graph looks like, a file a noun, and the planner that answers it.

graph           the schema, built once
context         what a request brings to its resolvers
documents       parsed and validated once, kept by text
queries         root fields that read: each is one SQL statement
mutations       root fields that write: verbs of `app.actions`, the reply read in the same transaction (`..._verbs`: by noun)
leads campaigns activities users emails batches workspace    types, a file a noun
inputs scalars  what clients send
planner/        selection set -> one SQL statement -> JSON
"""
