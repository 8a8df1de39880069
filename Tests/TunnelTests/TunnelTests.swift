import Tunnel
