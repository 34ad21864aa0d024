"""Reports: the front as a table, a csv file and a page."""
