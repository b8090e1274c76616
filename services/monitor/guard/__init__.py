"""Memory of the appliance's processes, and when one is replaced."""
