"""The playground and the lecture, for a notebook's page. Only the command line imports it."""
