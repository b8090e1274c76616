"""The resources: one class for each URI template, with the right that it requires."""
