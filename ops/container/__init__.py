"""The container: its image built and looked into, the appliance in it run, watched and stopped. Needs Docker."""
