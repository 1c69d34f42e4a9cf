"""Archives: tars and zips, read by member."""
