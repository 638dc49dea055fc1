"""Pure rules: no SQL, no await, no clock. Each answers a question about values.

fields      the one list of a lead's fields; reads rows, inputs and patches through it
texts       one-line and many-line texts, loose cells      attributes  the caller's own JSON fields
emails      addresses, their identity, their domains       moments     RFC 3339
phones      is it a phone at all                           urls        is it a web address
columns     columns of a file to fields                    ids         TypeIDs and secrets
files       CSV as people save it                          people      made people, the same for the same seed
folding     what case and accents leave                    matching    does an entry fit a field
scoring     the five parts of a score, each point with its reason
"""
