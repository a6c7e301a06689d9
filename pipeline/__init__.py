"""What happens to an order. Stands on nothing of ours; workers, scheduler and web stand on it."""
