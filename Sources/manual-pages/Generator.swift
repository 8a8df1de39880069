// The command line of the generator: one program's description in, its pages out.

import Glibc
import UPKIProtocol

enum Generator {
    private static let usage = "usage: program --experimental-dump-help | manual-pages --section 1|8 --date YYYY-MM-DD --out FOLDER\n"

    /// - Returns: the exit code.
    static func run(_ arguments: [String]) -> Int32 {
        var options: [String: String] = [:]
        for index in stride(from: 0, to: arguments.count - 1, by: 2) { options[arguments[index]] = arguments[index + 1] }
        guard arguments.count == 6, let section = options["--section"], let day = options["--date"], let folder = options["--out"],
            ["1", "8"].contains(section), let date = self.longDate(day)
        else { return self.complain(self.usage, code: 2) }
        guard let json = try? JSON(parsing: self.standardInput()), json["serializationVersion"]?.integerValue == 0,
            let command = json["command"].flatMap({ CommandDescription($0) })
        else { return self.complain("manual-pages: standard input is no description of a program that is known here\n", code: 1) }
        for page in ManualPages(command, section: section, date: date).all {
            let path = "\(folder)/\(page.name).\(section)"
            guard self.write(page.text, to: path) else {
                return self.complain("manual-pages: \(path): \(String(cString: strerror(errno)))\n", code: 1)
            }
        }
        return 0
    }

    /// `November 25, 2026`, as mdoc(7) wants it; nil for what is no date.
    static func longDate(_ text: String) -> String? {
        let months = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
        ]
        let parts = text.split(separator: "-").compactMap { Int($0) }
        guard parts.count == 3, (1...12).contains(parts[1]), (1...31).contains(parts[2]), (1970...9999).contains(parts[0]) else {
            return nil
        }
        return "\(months[parts[1] - 1]) \(parts[2]), \(parts[0])"
    }

    private static func standardInput() -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0, bytes.count < 16 << 20 else { return bytes }
            bytes += buffer[..<count]
        }
    }

    private static func write(_ text: String, to path: String) -> Bool {
        guard let file = fopen(path, "we") else { return false }
        let written = text.withCString { fputs($0, file) }
        return fclose(file) == 0 && written >= 0
    }

    private static func complain(_ text: String, code: Int32) -> Int32 {
        _ = text.withCString { Glibc.write(STDERR_FILENO, $0, strlen($0)) }
        return code
    }
}
