"""How a step is computed fast and within memory. Everything above the method may import it."""
