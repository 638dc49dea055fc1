"""From a selection set to one SQL statement whose result is the finished JSON.

plans       the way in: finds or compiles the plan of a root field, binds, runs, shapes
roots       the statement of a root field
compiler    walks the selection with graphql-core's collector and builds the statement
connections one page of a list, as JSON; `columns` as columns that `shapes` makes objects of
arrays      a page as columns, for files
lists       what a list is made of: rows, conditions, the table between
pages       how many, from where, in which order; keysets
stats       figures of a list
filters     `where` arguments as conditions; `attributes` those on the caller's own fields
bindings    what a type's fields are in SQL, said beside the field
origins     where a bind's value comes from: a literal, a variable, a part of one
cursors     opaque, versioned, checked
dialects    what differs between SQLite and PostgreSQL; `sqlite` and `postgres` are its two answers
"""
