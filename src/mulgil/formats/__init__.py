"""Formats of `mulgil export`: one file each, named as `--to` names it."""
