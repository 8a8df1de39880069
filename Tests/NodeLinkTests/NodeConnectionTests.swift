import NodeLink
