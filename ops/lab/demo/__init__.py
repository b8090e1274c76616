"""Shows the appliance at work on real rows, and checks every value that it gives."""
