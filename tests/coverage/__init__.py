"""How often intervals cover and checks pass, simulated where what is true is known."""
