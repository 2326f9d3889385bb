"""Training where the texts are: clients tune an adapter on their own, a server averages."""
