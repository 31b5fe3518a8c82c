"""What the pages of studies, and of results that were made elsewhere, are called."""

PAGE_FILE = "report.html"
