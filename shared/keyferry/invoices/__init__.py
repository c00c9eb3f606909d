"""Statements of months as files: CSV for spreadsheets, PDF for people. The same statement always makes the same bytes."""
