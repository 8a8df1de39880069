// The file that tells a service manager whether registration is open, before any program of ours runs.

import Authority
import DurableFiles
import Logging
import PKI

/// `registration.open` in the data directory: there while the window is open. `ConditionPathExists=` of ca-registrar.service reads it, so that a
/// closed registrar does not start with the machine. It is no right: the registrar asks the core, and the core looks at its own state.
struct RegistrationFlag: Sendable {
    let directory: DataDirectory
    let log: Logger

    /// Makes the file agree with the window; durable when it returns. What cannot be written is logged and tried again by the next call.
    func follow(_ window: RegistrationWindow, at now: UnixTime) {
        let path = self.directory.registrationFlag
        let isOpen = window.isOpen(at: now)
        guard isOpen != DataDirectory.exists(path) else { return }
        do {
            if isOpen {
                let until = window.openUntil.map { "until \($0.rfc3339)" } ?? "until it is closed"
                try DurableFile.write(Array("registration is open \(until)\n".utf8), to: path, mode: 0o600)
            } else {
                try DurableFile.remove(path)
            }
        } catch {
            self.log.error("\(path) cannot be \(isOpen ? "written" : "removed")", metadata: ["cause": "\(error)"])
        }
    }
}
