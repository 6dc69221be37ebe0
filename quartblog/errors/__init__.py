"""Exception -> page for the visitor, record for the operator."""
