"""The OpenAPI 3.1 document, made of plain dictionaries. The tests hold every answer against it."""
