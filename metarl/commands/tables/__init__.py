"""The published tables: one file each, with its rows and how a row is measured."""
