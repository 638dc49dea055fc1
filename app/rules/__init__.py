"""Pure rules: no SQL, no await, no clock; only `ids` makes names of the clock and chance. Each answers a question about values.

fields      the one list of a lead's fields; reads rows, inputs and patches through it
events      custom events as callers send them             attributes  the caller's own JSON fields
texts       one-line and many-line texts, loose cells      moments     RFC 3339
emails      addresses, their identity, their domains       urls        is it a web address
phones      is it a phone at all                           ids         TypeIDs and secrets
files       CSV as people save it                          workbooks   Excel's, as tables
columns     columns of a file to fields                    uploads     a file in pieces of 2,000 rows
csv_lines   CSV written a column at a time
records     of a CSV text, and the lines they begin on
workbook_reader     what `workbooks` runs in a process of its own
making      what rows of a long file are if their leads are new: `import_reader` makes them in a process of its own
lead_values     what of a lead follows from its values      written    how JSON and moments are written
folding     what case and accents leave                    matching    does an entry fit a field
people      made people, the same for the same seed        webhook_urls    where webhooks may be sent
scoring     the five parts of a score, each point with its reason
"""
