"""A linter for English: the words and names that the project's style replaces, in code, pages and messages."""
