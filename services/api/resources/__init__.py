"""What each address answers. One class for each URI template, with the right that it asks for."""
