"""What one may do, a file a noun. The only code that writes rows: a verb takes `Work`, returns rows, never commits."""
