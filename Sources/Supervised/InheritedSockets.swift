// The sockets that a service manager holds for a program: they stay while the program is replaced, so that nobody is turned away meanwhile.
import CLinux
import CSystemd
import Glibc

/// A listening socket that was there before the program.
public struct InheritedSocket: Sendable, Equatable {
    public let descriptor: Int32
    /// `FileDescriptorName=` of the unit (systemd.socket(5)); without one the name of the unit.
    public let name: String
    /// The path of a unix socket, or `ADDRESS:PORT` with an IPv6 address in brackets.
    public let place: String

    public init(descriptor: Int32, name: String, place: String) {
        self.descriptor = descriptor
        self.name = name
        self.place = place
    }
}

/// sd_listen_fds_with_names(3).
public enum InheritedSockets {
    /// The sockets that were handed to this process; they are close-on-exec from then on, and the variables that told of them are gone.
    /// To be called once, before any thread exists.
    /// - Throws: `.systemCall`, `.notListening` for a descriptor that is no listening stream socket.
    public static func take() throws(SupervisedError) -> [InheritedSocket] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(1, &names)
        guard count >= 0 else { throw .systemCall("sd_listen_fds", count) }
        defer {
            for index in 0..<Int(count) { free(names?[index]) }
            free(names)
        }
        var sockets: [InheritedSocket] = []
        for index in 0..<count {
            // SD_LISTEN_FDS_START of sd-daemon.h.
            let descriptor = 3 + index
            let name = names?[Int(index)].map { String(cString: $0) } ?? ""
            var text = [CChar](repeating: 0, count: 128)
            guard clinux_listening_at(descriptor, &text, text.count) == 0 else {
                throw SupervisedError(.notListening, "the descriptor \(descriptor) ('\(name)') that was handed over is no listening socket")
            }
            let place = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            sockets.append(InheritedSocket(descriptor: descriptor, name: name, place: place))
        }
        return sockets
    }
}
