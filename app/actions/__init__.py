"""What one may do, a file a noun. The only code that writes rows: a verb takes `Work`, returns rows, never commits.

work            the transaction, who asks, in which workspace, and when
leads           one at a time: create, change, delete, assign
upserts         many by their rows: create those we don't know, change the others
lead_batches    many by a filter, in the request or as a job
imports         many by a file, `read_ahead`, as a job: `trials` of its rows write nothing
  import_pieces   reads a file ahead, a long one in a process        made_leads      new leads that were made by that
  lead_rows       what is kept beside a caller's values       known_leads     the stored leads that a batch is about
  lead_changes    scores, writes and tells the log            lead_removal    takes away, keeps what brings back
  lead_search     upkeep of SQLite's search index             references      finds what a caller names
scores          scoring leads anew, and the rules of it; `scorer` is what a workspace scores by
campaigns       leads join and leave them
emails          the unsent ones of a lead that goes; `mail_queue` schedules, claims and reports
events          custom events, recorded once
activities      the log: everything that happened, in the order of commits
triggers        what an activity sets off: `automation_runs` of automations, deliveries of webhooks
lanes           such runs and deliveries in their turn, one by one for each lead
batches         writes that belong together; `undo` takes one back, its `undo_targets` by their `undo_deltas`
jobs            work to do later
workspaces users keys       who is here
table_statistics                what PostgreSQL knows of its tables, after many rows
idempotency     answers kept for requests that are sent again
races           going round again when another transaction was faster
reads           look-ups outside a writing transaction
values          names and short texts, checked
"""
