package login

// Hold is how long a node has a flow for itself.
const Hold = hold
