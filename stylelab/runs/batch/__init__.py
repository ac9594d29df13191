"""Pictures by the hundred: a plan, workers that paint, a table and a contact sheet."""
