"""What an order costs, and why. Pure: knows no database."""
