"""What one, two and four monitors on one PostgreSQL come to, and what holds them up."""
