"""What goes wrong, and what each side sees of it: exceptions -> page for the visitor, record for the operator."""
