"""What people look at: the nightly report, ready queries, SQL over the tables. Reads published tables only."""
