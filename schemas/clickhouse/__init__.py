"""The tables and views in ClickHouse: numbered migrations, and the runner that applies them."""
