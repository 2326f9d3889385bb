"""Federated training: clients tune an adapter on their own texts, and a server averages them."""
