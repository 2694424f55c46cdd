"""Is every permission of a synthesised template needed, and every need permitted? Proven without an account, from the template and the code."""
