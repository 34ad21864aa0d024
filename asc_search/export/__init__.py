"""Submissions: official layouts, their rules, and the way from a finished run to one."""
