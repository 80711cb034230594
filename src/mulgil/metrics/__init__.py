"""Metrics, one a file; each says in its docstring which definition it keeps."""
