"""How is Dynamics 365 Business Central spoken to? API v2.0 as the ERP, and as the warehouse system of locations worked in it."""
