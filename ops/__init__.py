"""Commands for people: boot, demo, the models tool."""
