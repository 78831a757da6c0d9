"""Who takes the money: the sandbox, or Stripe."""
