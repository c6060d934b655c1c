"""Helpers without knowledge of faces or networks: paths, files, resumable tables, threads, array types."""
