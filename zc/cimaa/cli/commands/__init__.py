"""The commands of ``cimaa``; each file is imported when one of its commands runs."""
