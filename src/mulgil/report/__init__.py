"""report.html: what a person looks at first in a run folder."""
