// Whether the RA has had its registration's answer: until then the registrar's port is there again after a restart.

import DurableFiles
import Glibc

enum Handover {
    private static func path(_ directory: String) -> String { "\(directory)/handed-over" }

    static func isDone(in directory: String) -> Bool { access(path(directory), F_OK) == 0 }

    static func markDone(in directory: String, _ log: TunnelLog) {
        do throws(DurableFileError) { try PrivateFile.write([], to: path(directory)) } catch { log(.warning, error.message) }
    }
}
